//! Comparison keys of names. Each name has two keys, and two members of a room must differ in both.
//! The keys are based on skeletons (UTS 39): names that look alike have the same skeleton.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use unicode_security::confusable_detection::skeleton;

/// Returns the two keys of a name. Each key finds pairs of names that the other key misses:
///
/// - The first key is the skeleton of the name in lower case. `ALICE` and `alice` have the same
///   first key.
/// - The second key is the skeleton of the name as typed. `ALICE` and `ALlCE` have the same second
///   key, because a capital `I` looks like an `l`.
///
/// Both skeletons are then converted to lower case, because a skeleton may contain capitals: that
/// of `0` is `O`.
pub(crate) fn keys(name: &str) -> [String; 2] {
    [
        fold(&name_skeleton(&fold(name))),
        fold(&name_skeleton(name)),
    ]
}

pub(crate) fn same(one: &[String; 2], other: &[String; 2]) -> bool {
    one.iter().zip(other).any(|(one, other)| one == other)
}

/// Folds case, much like "Default Caseless Matching" of the Unicode Standard (section 3.13):
/// converts to upper case and then to lower case, so that `ß` matches `SS` and `ς` matches `Σ`. The
/// lower-casing of RFC 8265 finds neither match.
pub(crate) fn fold(text: &str) -> String {
    text.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

/// Removes the marks on letters of a folded text in NFC.
pub(crate) fn without_marks(text: &str) -> String {
    let bare = |c: char| {
        let mut buffer = [0; 4];
        let mut parts = skeleton(c.encode_utf8(&mut buffer)).peekable();
        let first = parts.next().unwrap_or(c);
        let is_marked = parts.peek().is_some() && parts.all(is_mark);
        if is_marked { first } else { c }
    };
    text.chars().map(bare).collect()
}

/// Returns the skeleton of UTS 39, section 4, with two exceptions. A dot above an `i` or a `j`
/// changes nothing. An `m` doesn't look like `rn`: otherwise `modem` and `modern` would be the same
/// name. No other ASCII letter needs such an exception, because the skeleton of each is a single
/// letter.
fn name_skeleton(text: &str) -> String {
    // A private-use character, which no name contains. It takes the place of each `m`, with or
    // without marks, while the skeleton is computed, so that no `m` becomes `rn`.
    const M: char = '\u{e000}';
    let text: String = text.chars().flat_map(conjunct).collect();
    let mut without_m = String::with_capacity(text.len());
    for c in text.chars() {
        // Handle ASCII first: it is the most common case, and needs no decomposition.
        if c.is_ascii() && c != 'm' {
            without_m.push(c);
            continue;
        }
        let mut buffer = [0; 4];
        let mut parts = skeleton(c.encode_utf8(&mut buffer)).peekable();
        if parts.next() == Some('r') && parts.next_if_eq(&'n').is_some() {
            without_m.push(M);
            without_m.extend(parts);
        } else {
            without_m.push(c);
        }
    }
    let mut has_own_dot = false;
    skeleton(&without_m)
        .filter(|c| {
            if !is_mark(*c) {
                has_own_dot = matches!(c, 'i' | 'j');
            }
            // A dot above an `i` or a `j` takes the place of the letter's own dot (Unicode,
            // "Soft_Dotted").
            !(has_own_dot && *c == '\u{307}')
        })
        .map(|c| if c == M { 'm' } else { c })
        .collect()
}

fn is_mark(c: char) -> bool {
    c.general_category() == GeneralCategory::NonspacingMark
}

/// Decomposes a letter that looks like a consonant with a virama and a joiner, if Unicode gives the
/// two spellings different skeletons. Returns the consonant and the virama. Leaves the joiner out,
/// because skeletons have no joiners. Returns other letters unchanged.
fn conjunct(c: char) -> impl Iterator<Item = char> {
    let (first, virama) = match c {
        '\u{9ce}' => ('\u{9a4}', Some('\u{9cd}')),
        '\u{d54}' => ('\u{d2e}', Some('\u{d4d}')),
        '\u{d55}' => ('\u{d2f}', Some('\u{d4d}')),
        '\u{d56}' => ('\u{d34}', Some('\u{d4d}')),
        '\u{d7f}' => ('\u{d15}', Some('\u{d4d}')),
        c => (c, None),
    };
    std::iter::once(first).chain(virama)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::protocol::name::script_rules::NAME_SIGNS;
    use crate::protocol::name::tests::name;

    #[track_caller]
    fn assert_same(one: &str, other: &str) {
        assert!(name(one).is_same(&name(other)), "{one} and {other} differ");
    }

    #[track_caller]
    fn assert_different(one: &str, other: &str) {
        assert!(
            !name(one).is_same(&name(other)),
            "{one} and {other} are the same"
        );
    }

    #[test]
    fn names_that_differ_only_in_case_are_the_same() {
        assert_same("Ala", "aLA");
        assert_same("Łukasz", "ŁUKASZ");
        assert_same("Νίκος", "ΝΊΚΟΣ");
        assert_same("Weiß", "WEISS");
        assert_same("Inge-Weiß", "inge-weiẞ");
        assert_same("ინა", "ᲘᲜᲐ");
        assert_same("İlknur", "i\u{307}lknur");
    }

    #[test]
    fn names_that_look_alike_are_the_same() {
        assert_same("ala", "\u{430}la");
        assert_same("ala", "Ａｌａ");
        assert_same("ジョン・スミス", "ｼﾞｮﾝ･ｽﾐｽ");
        assert_same("ala", "AIa");
        assert_same("ALICE", "ALlCE");
        assert_same("alice", "ALICE");
        assert_same("bob", "B0B");
        assert_same("АННА", "AHHA");
        assert_same("José", "Jose\u{301}");
        assert_same("O'Brien", "O\u{2bc}Brien");
        assert_same("Emma", "Eｍma");
        // A dot above an i or a j takes the place of the letter's own dot.
        assert_same("istanbul", "i\u{307}stanbul");
        assert_same("istanbul", "İSTANBUL");
        assert_same("Maja", "Maj\u{307}a");
        assert_same("i\u{323}da", "i\u{323}\u{307}da");
        assert_same("O'Brien", "O’Brien");
        assert_same("ג'ורג'", "ג׳ורג׳");
        // Names with and without joiners, then a Malayalam and a Bengali letter, each in two
        // encodings.
        assert_same("علی\u{200c}رضا", "علیرضا");
        assert_same("ශ\u{dca}\u{200d}රී", "ශ්රී");
        assert_same("രാജൻ", "രാജന\u{d4d}\u{200d}");
        assert_same("ভবিষ্যৎ", "ভবিষ্যত\u{9cd}\u{200d}");
    }

    #[test]
    fn an_m_does_not_look_like_rn() {
        assert_different("modem", "modern");
        assert_different("MODEM", "modern");
        assert_different("Emie", "Ernie");
        assert_different("ḿa", "rńa");
        assert_same("ḿa", "ḾA");
    }

    #[test]
    fn m_is_the_only_ascii_letter_that_looks_like_several_letters() {
        let several: String = ('!'..='~')
            .filter(|c| {
                (c.is_ascii_alphanumeric() || NAME_SIGNS.contains(c))
                    && skeleton(&c.to_string()).count() > 1
            })
            .collect();
        assert_eq!(several, "m");
    }

    #[test]
    fn names_with_different_letters_accents_or_punctuation_are_different() {
        assert_different("Jose", "José");
        assert_different("Zoe", "Żoe");
        assert_different("Lida", "Lída");
        assert_different("Lukasz", "Łukasz");
        assert_different("Ola", "Ala");
        assert_different("Ола", "Ola");
        assert_different("ala", "ala2");
        assert_different("jan-k", "jan_k");
        assert_different("Gal·la", "Galla");
        assert_different("ジョン・スミス", "ジョンスミス");
    }

    /// Common first names, by language. Some look similar, but the keys must treat only `Ian` and
    /// `Lan` as the same name.
    const COMMON: &[&str] = &[
        // Polish names.
        "Ada Adam Adrian Agata Agnieszka Ala Alan Aleksander Aleksandra Alicja Aneta Ania Anna Antoni Artur Asia \
         Bartek Bartosz Basia Beata Błażej Bogdan Celina Cezary Czesław Damian Daniel Daria Dariusz Dawid Dominik \
         Dominika Dorota Edyta Ela Elżbieta Emil Emilia Ewa Ewelina Fabian Filip Franciszek Gabriela Grażyna Grzegorz \
         Hania Hanna Henryk Hubert Iga Ignacy Igor Ilona Irena Iwona Iza Izabela Jacek Jadwiga Jakub Jan Janek Janusz \
         Jarosław Jerzy Joanna Jola Julia Julian Justyna Kacper Kaja Kamil Kamila Karol Karolina Kasia Katarzyna Kinga \
         Klara Konrad Krystyna Krzysztof Kuba Lech Lena Leon Leszek Lidia Liliana Łucja Łukasz Maciej Magda Magdalena \
         Maja Małgorzata Marcel Marcin Marek Maria Mariusz Marta Martyna Mateusz Michał Mikołaj Milena Miłosz Mirosław \
         Monika Natalia Nikodem Nikola Nina Norbert Oktawia Ola Olaf Olek Olga Oliwia Oliwier Oskar Patrycja Patryk \
         Paula Paulina Paweł Piotr Piotrek Przemysław Radosław Rafał Renata Robert Róża Ryszard Sandra Sebastian Stanisław \
         Staś Stefan Sylwia Szymon Tadeusz Tomasz Tomek Tymon Urszula Wacław Wanda Weronika Wiktor Wiktoria Witold \
         Władysław Wojciech Wojtek Zbigniew Zofia Zosia Zuzanna Żaneta",
        // English and Irish names.
        "Aaron Abigail Aidan Alice Alison Amelia Amy Andrew Angela Ann Anne Ben Bella Beth Bill Brian Caitlin Carl Caroline \
         Charles Charlie Chloe Chris Clara Clare Colin Connor Dan Dave David Dean Dora Dylan Eileen Ellen Ella Ellie Emily \
         Emma Eoin Eric Erin Ernie Ethan Eva Eve Fiona Frank Gail Gary George Grace Hannah Harry Helen Holly Ian Ivy Jack \
         Jacob James Jane Jean Jill Jim Joan Joe John Josh Joyce Karen Kate Kelly Kevin Kim Laura Leah Lee Liam Lily Linda \
         Lisa Lola Louis Lucy Luke Lynn Mark Mary Max Megan Mia Mike Molly Neil Nell Niamh Noah Nora Oisín Oliver Olivia \
         Oscar Owen Paddy Pam Paul Peter Phil Rachel Rhys Rita Rob Ron Rory Rose Ruth Ryan Sally Sam Sarah Sean Seán Sharon \
         Sinéad Siobhán Sophie Stella Steve Sue Tara Ted Tim Tina Tom Tony Vera Will Zoe",
        // German, Dutch and Nordic names.
        "Anke Annika Anton Antje Björn Britta Bärbel Claus Detlef Dieter Dirk Elke Erik Ernst Franz Frauke Fritz Gerd Götz \
         Günter Günther Hans Heidi Heike Heinz Helga Ingrid Jens Jonas Jörg Jürgen Kai Karl Karin Katja Klaus Kurt Lars \
         Lasse Lotte Lutz Manfred Matthias Maren Moritz Niels Nils Otto Petra Ralf Rolf Rüdiger Sabine Silke Sören Sven \
         Thomas Till Timo Torsten Udo Ulf Ulla Ulrich Ursula Uwe Volker Walter Werner Wilhelm Bram Daan Femke Fleur Joost \
         Joris Maarten Pieter Sanne Thijs Willem Åsa Øystein Øyvind Håkon Magnus Freyja Þór Guðrún Sigríður Ásta Aino Eero \
         Eino Iida Iiris Jaakko Kalle Pekka Päivi Väinö",
        // French, Spanish, Portuguese, Italian and Romanian names.
        "Adèle Amélie Anaïs André Andrée Benoît Camille Cécile Céline Chloé Élise Émile Éric Estelle Étienne Fabien Florian \
         François Françoise Gaël Gaëlle Geneviève Gérard Hélène Hugo Inès Jérôme Joël Joëlle Léa Léo Léon Loïc Lucie Manon \
         Mathieu Maël Mélanie Michèle Noé Noël Océane Pascal Pauline Pierre Quentin Raphaël Rémi Rémy René Renée Sébastien \
         Thibault Théo Valérie Yann Yves Zoé Ana Andrés Ángel Antonio Beatriz Begoña Carlos Carmen Concepción Cristóbal \
         Diego Elena Enrique Felipe Fernando Íñigo Isabel Iván Javier Jesús Joaquín Jorge José Josefa Juan Juana Luis Luisa \
         Lucía Manuel Manuela María Martín Mateo Miguel Mónica Nicolás Nuria Óscar Pablo Paco Pedro Pilar Rafael Ramón Raúl \
         Rocío Rosa Rubén Santiago Sofía Teresa Tomás Ximena Yolanda Afonso Bruna Caetano Conceição Inês João Joana Lourenço \
         Luís Luísa Tomé Vasco Alessia Alessandro Bianca Chiara Elisa Enzo Federica Francesca Giacomo Gianni Gino Giorgia \
         Giovanni Giulia Giuseppe Ilaria Lorenzo Luca Luigi Matteo Nicola Niccolò Paolo Pina Pino Salvatore Silvia Simona \
         Simone Ștefan Ionuț Ioana Ion Mihai Mihaela Răzvan",
        // Czech, Slovak, Hungarian, Croatian, Lithuanian, Turkish and Vietnamese names.
        "Aleš Anežka Bohumil Božena Eliška Jaromír Jiří Jiřina Kateřina Květa Libor Libuše Luboš Miloš Miloslav Ondřej Pavel \
         Radek Růžena Šárka Tereza Václav Věra Vít Vojtěch Zdeněk Zdeňka Ľuboš Ľudmila Ágnes Attila Balázs Bence Béla \
         Csaba Erzsébet Ferenc Gábor Gergő György Györgyi Ildikó Ilka István János József Katalin Kálmán László Márton Máté \
         Miklós Réka Sándor Szabolcs Tamás Zoltán Zsófia Zsolt Ante Branko Đorđe Dražen Goran Ivana Jelena Jovan Ljiljana \
         Marija Mirko Nikolina Petar Siniša Tihana Vedran Vesna Zoran Željko Živko Ąžuolas Jūratė Rasa Vytautas Ayşe \
         Burak Can Cem Çağla Deniz Elif Emre Esra Eylül Fatma Gökhan Gül Gülay Hakan Hüseyin İbrahim İlknur Kemal Mehmet \
         Murat Nilüfer Oğuz Ömer Özge Serkan Şule Ümit Yıldız Yusuf Zeynep An Ánh Bảo Bình Dũng Dương Đức Hà Hải Hạnh Hoa \
         Hòa Hùng Hương Hưng Lan Lân Linh Long Mai Minh Nam Ngọc Nhung Phúc Phương Quân Sơn Thảo Thu Thủy Trang Trung Tú \
         Tuấn Việt Vinh Xuân Yến",
        // Russian, Ukrainian, Bulgarian and Serbian names.
        "Александр Алексей Алёна Алина Алиса Алла Анастасия Анатолий Андрей Анна Антон Антонина Арина Артём Артур Борис Вадим \
         Валентин Валентина Валерий Валерия Варвара Василий Вера Вероника Виктор Виктория Виталий Влад Владимир Галина \
         Геннадий Георгий Глеб Григорий Даниил Дарья Денис Дмитрий Ева Евгений Евгения Егор Екатерина Елена Елизавета Жанна \
         Зоя Иван Игорь Илья Инна Ирина Кирилл Константин Ксения Лариса Лев Леонид Лидия Любовь Людмила Маргарита Марина Мария \
         Марк Матвей Михаил Надежда Наталья Никита Николай Нина Оксана Олег Олеся Ольга Павел Пётр Полина Роман Руслан Светлана \
         Семён Сергей София Софья Станислав Степан Тамара Татьяна Тимофей Ульяна Фёдор Эдуард Элла Юлия Юрий Яна Ярослав Богдан \
         Василь Дмитро Євген Ївга Іван Ігор Катерина Кирило Любов Микола Михайло Наталія Олександр Олексій Олена \
         Орест Петро Сергій Соломія Тарас Юлія Юрій Ярина Ангел Бисер Боян Десислава Димитър Живка Йордан Калин Росица Цветан \
         Ђорђе Јован Јелена Љиљана Његош Стефан Ђурђа",
        // Greek, Georgian and Armenian names.
        "Αθηνά Αλέξανδρος Αναστασία Ανδρέας Άννα Βασίλης Γεωργία Γιάννης Γιώργος Δέσποινα Δημήτρης Ειρήνη Ελένη Εύα Ζωή Ηλίας \
         Θανάσης Θεοδώρα Ιωάννα Κατερίνα Κώστας Λευτέρης Λουκάς Μαρία Μιχάλης Νίκη Νίκος Ξένια Όλγα Παναγιώτης Πέτρος Ρένα Σοφία \
         Σπύρος Στέλιος Τάσος Φωτεινή Χρήστος Χριστίνα ანა გიორგი დავით ელენე ეკა ვახტანგ თამარ ია ირაკლი ლევან ლია მარიამ ნათია ნიკა \
         ნინო სალომე სანდრო ქეთევან შოთა Անի Արամ Արմեն Գոհար Դավիթ Լիլիթ Հայկ Մարիամ Նարեկ Տիգրան",
        // Hebrew, Arabic, Persian and Urdu names.
        "אבי אברהם אדם אורי אורלי אילן אילנה איתן אלון אלי אסתר בן ג'ורג' גיא גיל גילה דוד דן דנה דניאל דפנה הדס זאב חיה חיים חנה \
         טל יאיר יוסי יוסף יעל יעקב יצחק ירדן לאה ליאור ליה לינוי מאיה מיכל מירי משה נועה נועם נטע ניר עדי עומר עידו עמית ענת רבקה רון \
         רוני רות רחל רינה שחר שי שיר שירה שלמה שמואל שרה שרון תמר \
         أحمد إبراهيم أسماء أمل أمينة إيمان بلال جمال حسن حسين حمد حمزة خالد خديجة دينا رانيا رنا ريم زينب سارة سامي سعاد سعيد سلمى \
         سليم سمير سناء عائشة عادل عباس عثمان عزيز علاء علي عماد عمر فاطمة فريد فؤاد كريم كمال ليلى ماجد محمد محمود مريم مصطفى منى مها \
         نادية ناصر نبيل نجوى نور هالة هبة هدى هند وليد ياسر ياسمين يحيى يوسف آرش آزاده امیر بهرام پریسا پویا جمشید رضا زهرا ژاله سیما شیرین \
         علیرضا فرهاد کاوه کیان گلنار لیلا مهدی مینا نسرین نیما",
        // Hindi, Bengali, Tamil, Thai, Burmese and Khmer names.
        "अजय अनिता अमित अर्जुन आकाश आरती ईशा कविता किरण कृष्ण गीता जया दीपक दीपा देव नेहा नीता पूजा प्रिया मीरा मोहन रवि राज राजा राजेश राधा राम रमा \
         रीता रेखा लक्ष्मी विजय विनोद शिव श्याम सीता सुनीता सुनील हरि ঋতু অমিত কবিতা জয় নীলা প্রিয়া রবি রিনা সুমন অনিতা அருண் கமலா கவிதா குமார் செல்வி தமிழ் \
         மீனா முருகன் ராஜா லதா กมล กานต์ จันทร์ ชัย ณัฐ ดาว นก นภา น้ำ ปลา ปิติ พร มานะ มานี มาลี วิชัย สมชาย สมหญิง สมศรี สุดา อรุณ အောင် ကျော် ခင် စု ဆု ညို \
         နု မြ မြင့် လှ သန္တာ សុខ សុភា ដារា វណ្ណា",
        // Chinese, Japanese and Korean names.
        "伟 芳 娜 敏 静 丽 强 磊 军 洋 勇 艳 杰 娟 涛 明 超 兰 霞 平 刚 桂英 建国 志强 秀英 子轩 浩然 宇航 梓涵 欣怡 張偉 张伟 王芳 王力 王刀 李娜 李明 李朋 太郎 大郎 犬郎 一郎 \
         二郎 三郎 花子 陽菜 結衣 葵 蓮 翔太 健 誠 愛 さくら ひなた あおい はな ほのか ゆい ゆうき りん れん いちろう はるか はるき アキラ エミ エリ カオリ ケン ケンジ サラ \
         ノア ハナ ハル パル バル ヒロ マリ マリア ミカ ユキ ユリ リカ リク リサ リン ルカ ルリ レイ ロン 김민수 김민준 김민서 김서연 김지우 이준 이서준 박지민 박지훈 최수빈 \
         정예은 강하늘 윤아 윤서 은지 은서 지은 지원 지현 하나 하은 민지 민수 수민 수진 영희 철수 현우",
    ];

    /// Pairs of real names that have a key in common, because a capital I looks like an l.
    const CONFUSABLE: &[[&str; 2]] = &[
        ["Ian", "Lan"],
        ["Iola", "Lola"],
        ["Iida", "Lida"],
        ["Ieva", "Leva"],
    ];

    #[test]
    fn common_names_other_than_ian_and_lan_are_all_different() {
        let mut taken: HashMap<(usize, String), &str> = HashMap::new();
        let mut collisions = Vec::new();
        for raw in COMMON.iter().flat_map(|list| list.split_whitespace()) {
            let name = name(raw);
            for (which, key) in name.keys().into_iter().enumerate() {
                if let Some(other) = taken.insert((which, key.to_owned()), raw) {
                    collisions.push([other, raw]);
                }
            }
        }
        assert_eq!(collisions, [["Ian", "Lan"]]);
    }

    #[test]
    fn a_few_real_names_are_the_same_because_a_capital_i_looks_like_an_l() {
        for [one, other] in CONFUSABLE {
            assert_same(one, other);
        }
    }
}
